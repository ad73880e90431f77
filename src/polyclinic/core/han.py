"""Syllables, and the readings beyond Mandarin, of names in Chinese characters and Hangul.

One written name has several customary spellings: 陳 is Chen in Beijing, Chan in Hong Kong, Tan
in Singapore and Tran in Hanoi, 김 is officially Gim and in passports Kim. Search stores them all.
A Japanese given name has no reading that its characters decide; family names mostly do.
"""

import re
from typing import Final

from anyascii import anyascii

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HANGUL = "\uac00-\ud7a3"
RUN: Final = re.compile(f"[{_HAN}]+|[{_HANGUL}]+")

_TWO_CHARACTER_SURNAMES: Final = frozenset({
    "歐陽", "欧阳", "司馬", "司马", "上官", "諸葛", "诸葛", "東方", "东方", "皇甫", "尉遲", "尉迟",
    "公孫", "公孙", "令狐", "慕容", "司徒", "夏侯", "端木", "司空", "南宮", "南宫", "西門", "西门",
    "남궁", "황보", "제갈", "선우", "독고", "사공",
})  # fmt: skip

_SURNAME_TABLE = """
王 wong ong vuong; 李 lee ly rhee yi; 张張 cheung chang teo truong jang;
刘劉 lau low luu yoo yu; 陈陳 chan tan tran jin; 杨楊 yeung young yeo duong;
黄黃 wong ng hoang huynh hwang; 赵趙 chiu chew cho jo trieu; 吴吳 ng goh ngo oh;
周 chow chau chew chu joo; 徐 tsui hsu tu seo suh; 孙孫 suen ton son sohn; 马馬 mah;
朱 chu choo joo; 胡 woo wu ho; 郭 kwok quek kuo quach kwak; 何 ho ha; 林 lam lim im rim;
高 ko kao koh cao go; 罗羅 law loh lo la na; 梁 leung neo luong yang; 宋 sung soong tong;
郑鄭 cheng tay trinh jeong chung; 谢謝 tse hsieh cheah ta; 韩韓 hon; 唐 tong duong;
冯馮 fung phung; 董 tung; 萧蕭肖 siu hsiao tieu; 程 ching; 曹曺 tso tsao cho jo; 袁 yuen vien;
邓鄧 tang teng dang; 许許 hui hsu koh heo hur hua; 傅 foo pho; 沈 sum sim shim tham;
曾 tsang tseng chan tang; 彭 pang banh; 吕呂 lui lu la; 苏蘇 so soh to; 卢盧 lo roh noh;
蒋蔣 chiang tuong; 蔡 choi chua tsai thai; 丁 ting jung jeong dinh; 魏 ngai nguy;
薛 sit hsueh seol; 叶葉 yip yap yeh diep; 余 yee; 潘 poon phua phan; 杜 to tu do; 戴 tai;
夏 ha hsia; 钟鍾鐘 chung cheong; 田 tin jeon jun; 任 yam yim im nham;
姜 keung kang gang khuong; 范 pham; 方 fong bang phuong; 石 shek seok thach; 姚 yiu dieu;
谭譚 tam tham dam; 廖 liu lieu; 金 kam kim gim; 阮 yuen nguyen; 朴 park pak bak;
崔 choi choe chui; 尹 yoon yun wan; 文 moon mun man van; 安 ahn on; 裴裵 bae pae bui;
黎 lai le; 武 vo vu mo; 白 baek paik pak bach; 申 shin sin than; 权權 kwon gwon quyen;
洪 hung ang; 柳 yoo ryu lau lieu; 全 jun jeon; 南 nam; 车車 cha; 成 sung seong thanh;
邱 yau khoo chiu khuu; 施 sze shih; 顾顧 koo; 陶 to dao; 段 duan doan; 贾賈 chia gia; 김 kim;
이 lee yi rhee; 박 park pak; 최 choi; 정 jung chung; 강 kang; 조 cho; 윤 yoon; 임 lim rim;
림 rim; 오 oh; 권 kwon; 안 ahn; 유 yoo ryu; 류 ryu yoo; 고 ko koh; 백 baek paik; 노 noh roh;
허 hur huh; 우 woo; 신 shin; 심 shim; 구 koo; 곽 kwak; 문 moon; 주 joo; 나 ra; 서 suh; 전 chun;
손 sohn; 배 bai; 양 ryang
"""


def _surname_readings(table: str) -> dict[str, tuple[str, ...]]:
    readings: dict[str, tuple[str, ...]] = {}
    for entry in re.split(r"[;\n]", table.strip()):
        if entry.strip():
            characters, *spellings = entry.split()
            readings.update(dict.fromkeys(characters, tuple(spellings)))
    return readings


_SURNAMES: Final = _surname_readings(_SURNAME_TABLE)

# Japanese family names are put together of few characters: one reading at the front, and after
# the slash the one in any later place where it differs.
_JAPANESE_TABLE = """
阿a 青ao 秋aki 浅asa 池ike 石ishi 市ichi 伊i 五i 今ima 岩iwa 内uchi 上ue/kami 浦ura 江e 榎eno
遠en/do 大o/ota 岡oka 小o 加ka 片kata 金kane 川kawa/gawa 河kawa 神kami 菊kiku 北kita 木ki 久ku
工ku 黒kuro 桑kuwa 後go 近kon 佐sa 斉sai 斎sai 坂saka 酒saka 桜sakura 崎saki/zaki 澤sawa 沢sawa
柴shiba 島shima 嶋shima 下shimo/shita 太o 白shira 杉sugi 菅suga/gaya 須su 関seki 千chi 高taka
竹take 武take 田ta 立tachi 谷tani 玉tama 塚tsuka 津tsu 辻tsuji 土tsuchi 寺tera 戸to 徳toku
中naka 永naga 長naga 成nari 西nishi 野no 根ne 橋hashi 浜hama 濱hama 林hayashi/bayashi 早haya
原hara/wara 東higashi 平hira 広hiro 福fuku 藤fuji/to 古furu 星hoshi 細hoso 堀hori 本hon/moto
前mae 牧maki 増masu 松matsu 丸maru 三mi 水mizu 南minami 宮miya 村mura 室muro 森mori 矢ya 八ya
安an/yasu 柳yanagi 山yama 横yoko 吉yoshi 若waka 和wa 渡wata 辺nabe 邊nabe 邉nabe 部be
口kuchi/guchi 見mi 井i 尾o 倉kura 瀬se 葉ba 子ko 地chi 新ara 樋hi 飯ii 梅ume 荒ara 相ai 望mochi
鈴suzu 清shi 熊kuma 馬ba
"""


def _japanese_readings(table: str) -> dict[str, tuple[str, str]]:
    entries = ((entry[0], entry[1:].partition("/")) for entry in table.split())
    return {character: (front, later or front) for character, (front, _, later) in entries}


_JAPANESE: Final = _japanese_readings(_JAPANESE_TABLE)
_JAPANESE_WHOLE: Final = {
    "小林": "kobayashi", "清水": "shimizu", "長谷川": "hasegawa", "服部": "hattori",
    "渡部": "watabe", "井上": "inoue", "木下": "kinoshita",
    "佐々木": "sasaki", "佐佐木": "sasaki", "五十嵐": "igarashi",
}  # fmt: skip


def syllables(run: str) -> list[str]:
    """The Mandarin or Korean syllable of each character, lower case."""
    heard = [anyascii(character).lower() for character in _spelled_out(run)]
    if _is_hangul(run):
        heard[1:] = ["r" + s[1:] if s.startswith("l") else s for s in heard[1:]]
    return [syllable for syllable in heard if syllable.isalnum()]


def surname_length(run: str) -> int:
    """How many characters of an unspaced name are its surname."""
    if len(run) > 3 or run[:2] in _TWO_CHARACTER_SURNAMES:
        return 2
    return 1


def readings(run: str) -> list[str]:
    """Customary spellings that the Mandarin or Korean syllables do not give, if any."""
    run = _spelled_out(run)
    found = list(_SURNAMES.get(run[0], ()))
    if _is_hangul(run):
        return found + ["woo"] * ("우" in run) + _southern(syllables(run[0])[0])
    found += [wade_giles(s) for s in syllables(run)]
    found += [_japanese(run[:length]) for length in (1, 2, 3) if length <= len(run)]
    return [reading for reading in found if reading]


def _spelled_out(run: str) -> str:
    """The repetition mark as the character that it repeats."""
    return re.sub("(.)々", r"\1\1", run)


def _is_hangul(run: str) -> bool:
    return "가" <= run[0] <= "힣"


def _southern(syllable: str) -> list[str]:
    """The South says 'na' and 'i' where the North writes and says 'la' and 'li'."""
    if not syllable.startswith("l"):
        return []
    return [syllable[1:] if syllable[1] in "iy" else "n" + syllable[1:]]


def _japanese(surname: str) -> str:
    if surname in _JAPANESE_WHOLE:
        return _JAPANESE_WHOLE[surname]
    parts = [_JAPANESE.get(character) for character in surname]
    if None in parts:
        return ""
    return "".join(part[place > 0] for place, part in enumerate(parts) if part)


# Only what `sound_key` would not take for the same sound anyway.
_INITIALS = (
    ("zh", "ch"), ("j", "ch"), ("q", "ch"), ("x", "hs"), ("z", "ts"), ("c", "ts"), ("r", "j"),
)  # fmt: skip


def wade_giles(syllable: str) -> str:
    """The Wade-Giles spelling, without its marks, of a pinyin syllable; '' where alike."""
    if syllable in {"yi", "you"}:
        return syllable.replace("yi", "i").replace("ou", "u")
    for pinyin, initial in _INITIALS:
        if syllable.startswith(pinyin) and not syllable.startswith("ch"):
            rest = syllable[len(pinyin) :]
            return initial + ("ih" if rest == "i" and pinyin in {"zh", "r"} else rest)
    return ""
