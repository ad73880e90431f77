# ruff: noqa: RUF001  (letters that look Latin are the matter here)

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polyclinic.core import names

LETTERS = "aeiouáéíóúñöšžčbcdfghjklmnpqrstvwxyzÁÖŠбвгдежзийклмнопрстуабвπαδοςυλμحمدعليشرماनमपत"
WORD = st.text(alphabet=LETTERS, min_size=1, max_size=12)
NAME = st.lists(WORD, min_size=1, max_size=5).map(" ".join)
SCRIPTS = st.text(
    alphabet=st.one_of(
        st.sampled_from(LETTERS + " -'’.,"),
        st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5),
        st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
        st.characters(min_codepoint=0x0590, max_codepoint=0x0D7F),
    ),
    max_size=30,
)
TEXT = st.one_of(st.text(max_size=60), SCRIPTS, NAME)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("Óscar  LÓPEZ-García", "oscar lopez garcia"),
        ("O’Neill, Seán", "oneill sean"),
        ("ＭＡＲＩＡ ß", "maria ss"),
        ("王小明", "wang xiaoming"),
        ("王 小明", "wang xiaoming"),
        ("欧阳修", "ouyang xiu"),
        ("김민준", "gim minjun"),
        ("فاطمة", "fatma"),
        ("فاطمه", "fatma"),
        ("يوسف", "yusf"),
        ("عبد الرحمن", "abdalrhmn"),
        ("Παπαδόπουλος", "papadopoulos"),
        ("Ευάγγελος", "evangelos"),
        ("Հարությունյան", "harutyunyan"),
        ("राजेश शर्मा", "rajesh sharma"),
        ("मोहन मिश्र", "mohan mishra"),
        ("गुप्त", "gupta"),
        ("आनन्द", "anand"),
        ("সাহা", "saha"),
        ("Ольга Соловьёва", "olga soloveva"),
        ("გიორგი", "giorgi"),
        ("さくら", "sakura"),
        ("", ""),
        ("—", ""),
    ],
)
def test_normal_form(name: str, form: str) -> None:
    assert names.normal_form(name) == form


@given(TEXT)
def test_a_normal_form_is_ascii_words_and_its_own_normal_form(name: str) -> None:
    form = names.normal_form(name)
    assert all(word.isascii() and word.isalnum() and word == word.lower() for word in form.split())
    assert names.normal_form(form) == form


@given(TEXT)
def test_what_is_typed_as_it_is_written_is_found_by_prefix(name: str) -> None:
    stored = names.search_tokens(name)
    assert all(any(t.startswith(q) for t in stored) for q in names.query_tokens(name))


@given(st.one_of(TEXT, st.text(min_size=200, max_size=400)))
def test_tokens_are_few_short_distinct_and_sorted(name: str) -> None:
    stored = names.search_tokens(name)
    assert list(stored) == sorted(set(stored))
    assert len(stored) <= names.MAX_TOKENS
    assert len(names.query_tokens(name)) <= names.MAX_QUERY_TOKENS
    assert all(0 < len(t) <= names.MAX_TOKEN_LENGTH for t in stored + names.query_tokens(name))
    assert all(names.sound_key(token) for token in stored)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("王小明", "Wang Xiaoming"),
        ("王小明", "Xiao Ming Wang"),
        ("王小明", "wangxiaoming"),
        ("王小明", "xiaomingw"),
        ("王小明", "Wong"),
        ("陳淑娟", "Chan Shu-chuan"),
        ("田中太郎", "Tanaka"),
        ("佐々木 健", "Sasaki"),
        ("김민준", "Kim Min Jun"),
        ("박서연", "Park"),
        ("O'Neill", "neill"),
        ("Ó Néill", "oneill"),
        ("D’Angelo", "angelo"),
        ("خالد الحسن", "hsn"),
        ("Марко Цветковић", "cvetkovi"),
        ("דוד", "dvd"),
    ],
)
def test_other_spellings_are_found_by_prefix(name: str, typed: str) -> None:
    stored = names.search_tokens(name)
    assert all(any(t.startswith(q) for t in stored) for q in names.query_tokens(typed))


def test_query_tokens_keep_the_order_of_typing() -> None:
    assert names.query_tokens("Xi Wang-Li d'Arc a b c d") == ("xi", "wang", "li", "darc", "a", "b")


@pytest.mark.parametrize(
    "spellings",
    [
        "mohammed muhammad mohamed mhmd mahomet",
        "yusuf youssef ywsf yusf yosef josef",
        "fatima fatimah fatma ftma",
        "ahmed ahmad ahmet ahmd",
        "abdullah abdallah abdala",
        "sharma srma",
        "mohan mohn",
        "singh sing",
        "grigorev grigoryev grigoriev",
        "solovyov solovev",
        "papadopoulos papadopoylos",
        "harutyunyan harowtyownyan harutiunian",
        "yelena elena",
        "stephen steven stefan",
        "schmitt shmit",
        "meyer meier mayer",
        "kowalski kovalsky kowalsky",
        "petrovic petrovich",
        "johnson jonson",
        "lee li",
        "hsu xu",
        "kim gim",
    ],
)
def test_spellings_of_one_name_sound_alike(spellings: str) -> None:
    assert len({names.sound_key(token) for token in spellings.split()}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("li", "lu"), ("maria", "omar"), ("anna", "nina"), ("john", "johanna"), ("smith", "simon"),
     ("garcia", "gomez"), ("ivan", "ivanova"), ("chen", "zhen")],
)  # fmt: skip
def test_different_names_sound_different(one: str, other: str) -> None:
    assert names.sound_key(one) != names.sound_key(other)


def test_only_nothing_has_no_sound() -> None:
    assert names.sound_key("") == ""
    assert names.sound_key("h") == "h"
    assert names.sound_key("12") == "12"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("María López", "LOPEZ, Maria"),
        ("J. Lopez", "José López"),
        ("José Antonio López", "Jose Lopez"),
        ("Ana del Rosario", "Delrosario Ana"),
        ("Sophie Baker", "Sohpie Baker"),
        ("John Smith", "Jon Smyth"),
        ("محمد علي", "Mohammed Ali"),
        ("محمد نور", "Noor Mohammed"),
        ("王小明", "Xiao Ming Wang"),
        ("김민준", "Kim Min-jun"),
        ("Ольга Соловьёва", "Olga Solovyova"),
        ("राजेश शर्मा", "Rajesh Sharma"),
        ("Γιώργος Παπαδόπουλος", "Giorgos Papadopoulos"),
    ],
)
def test_names_of_one_person_are_like(one: str, other: str) -> None:
    assert names.is_like(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("John Smith", "Mary Smith"),
        ("John Smith", "Jane Smith"),
        ("Maria Lopez", "Maria Gomez"),
        ("Maria", "Maria Lopez"),
        ("Li Wei", "Li Wen"),
        ("J. Lopez", "Maria Lopez"),
        ("", ""),
        ("", "Maria Lopez"),
        ("!", "?"),
    ],
)
def test_names_of_two_people_are_not_like(one: str, other: str) -> None:
    assert not names.is_like(one, other)


def test_a_missing_middle_name_or_an_initial_is_less_than_the_same_name() -> None:
    same, missing, initial = (
        names.likeness("Jose Antonio Lopez", other)
        for other in ("Jose Antonio Lopez", "Jose Lopez", "Jose A. Lopez")
    )
    assert names.LIKE_AT < missing < same
    assert names.LIKE_AT < initial < same


@given(TEXT, TEXT)
def test_likeness_is_symmetric_and_between_0_and_1(one: str, other: str) -> None:
    value = names.likeness(one, other)
    assert 0.0 <= value <= 1.0
    assert names.likeness(other, one) == value


@given(TEXT)
def test_a_name_is_wholly_like_itself(name: str) -> None:
    assume(names.normal_form(name))
    assert names.likeness(name, name) == 1.0


@given(st.lists(WORD, min_size=1, max_size=7), NAME, st.randoms(use_true_random=False))
def test_likeness_does_not_depend_on_the_order_of_words(
    words: list[str], other: str, order: random.Random
) -> None:
    shuffled = list(words)
    order.shuffle(shuffled)
    value = names.likeness(" ".join(words), other)
    assert names.likeness(" ".join(shuffled), other) == value


def plain_slips(a: str, b: str) -> int:
    rows = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            changed = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, changed)
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 1] + b[j - 2]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


SHORT = st.text(alphabet="abcd", min_size=1, max_size=9)


@given(SHORT, SHORT)
def test_slips_by_bit_vectors_are_those_of_the_table(one: str, other: str) -> None:
    assert names._slips(one, other) == plain_slips(one, other)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("María López", "M•••• L••••"),
        ("  Bo   Xi ", "B•••• X••••"),
        ("王小明", "王••••"),
        ("किरण", "कि••••"),
        ("", ""),
    ],
)
def test_a_mask_shows_first_letters_only(name: str, mask: str) -> None:
    assert names.masked(name) == mask


@given(st.lists(st.text(alphabet="abcdefgáñжش", min_size=1, max_size=30), max_size=5))
def test_a_mask_tells_neither_letters_nor_lengths(words: list[str]) -> None:
    assert names.masked(" ".join(words)).split() == [word[0] + "••••" for word in words]
