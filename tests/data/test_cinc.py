"""Comments of WFDB headers of the challenge, real and spoilt, and its scored diagnoses."""

import math

import pytest

from mmcl.data.cinc import OTHERS, SCORED, Comments, diagnoses, read_comments
from mmcl.data.quarantine import Unusable

RECORD = "A1 12 500 5000 16-May-2020 12:33:10\nA1.mat 16x1+24 1000.0(0)/mv 16 0 -29 15273 0 I\n"


@pytest.fixture
def header(tmp_path):
    def write(comments):
        path = tmp_path / "A1.hea"
        path.write_text(RECORD + comments)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "expected", "labels"),
    [
        ("E07500", Comments(78.0, 1.0, ("67741000119109", "426177001")), {"SB"}),
        ("E07503", Comments(77.0, 0.0, ("253352002", "427084000")), {"STach"}),
        ("HR06000", Comments(59.0, 0.0, ("164934002", "426783006")), {"TAb", "NSR"}),
        ("HR06002", Comments(29.0, 1.0, ("426177001", "426783006", "713426002")), {"SB", "NSR", "IRBBB"}),
        (
            "JS20000",
            Comments(84.0, 0.0, ("284470004", "427084000", "698252002", "55930002")),
            {"PAC", "STach", "NSIVCB"},
        ),
        ("JS20004", Comments(89.0, 1.0, ("284470004", "427084000", "55827005", "427172004")), {"PAC", "STach", "PVC"}),
    ],
)
def test_real_headers(shared, name, expected, labels):
    found = read_comments(shared / "real" / "ecg" / f"{name}.hea", name)
    assert found == expected
    told = diagnoses(found.codes)
    assert {label for label, value in told.items() if value} == labels and set(told.values()) == {0, 1}


@pytest.mark.parametrize(
    ("comments", "age", "sex", "codes"),
    [
        ("# Age: NaN\n# Sex: Unknown\n# Dx: 164889003\n", None, None, ("164889003",)),
        ("#Age: 59\n#Sex: F\n#Dx: 164889003,164890007\n", 59, 0, ("164889003", "164890007")),
        ("#age : 61.5\n# SEX:male\n#  dx :164889003 , 164889003\n", 61.5, 1, ("164889003",)),
        ("# Age: 300\n# Sex: M\n# Dx: Unknown\n", 90, 1, ()),
        ("# Age: -1\n# Sex: 1\n# Dx: 164889003,\n", None, None, ("164889003",)),
        ("# Age: inf\n# Sex:\n# Hx: Dx: 3\n", None, None, ()),
        ("", None, None, ()),
    ],
)
def test_odd_spellings(header, comments, age, sex, codes):
    found = read_comments(header(comments), "s")
    for value, expected in ((found.age, age), (found.sex, sex)):
        assert math.isnan(value) if expected is None else value == expected
    assert found.codes == codes


@pytest.mark.parametrize(
    ("comments", "reason"),
    [
        ("# Dx: AF\n", "odd diagnosis"),
        ("# Dx: 16488900300000000000\n", "odd diagnosis"),
        ("# x\n" * 30_000, "long header"),
    ],
)
def test_bad_headers(header, comments, reason, tmp_path):
    with pytest.raises(Unusable) as caught:
        read_comments(header(comments), "s")
    assert caught.value.rejection.reason == reason and caught.value.rejection.subject == "s"
    with pytest.raises(Unusable, match="missing .hea"):
        read_comments(tmp_path / "none.hea", "s")


def test_the_challenge_scores_26_diagnoses_of_30_codes():
    codes = [code for known in SCORED.values() for code in known]
    assert len(SCORED) == 26 and len(set(codes)) == len(codes) == 30
    pairs = {frozenset(known) for known in SCORED.values() if len(known) > 1}
    assert pairs == {
        frozenset(pair)
        for pair in (
            ("733534002", "164909002"),
            ("713427006", "59118001"),
            ("284470004", "63593006"),
            ("427172004", "17338001"),
        )
    }
    others = [code for known in OTHERS.values() for code in known]
    assert not set(others) & set(codes) and not set(OTHERS) & set(SCORED) and len(set(others)) == len(others)


def test_every_code_has_the_check_digit_of_snomed():
    """SNOMED CT identifiers end in a check digit by Verhoeff (1969): a mistyped one would fail, with odds of 9 in 10.

    The digit is computed here from the dihedral group of order 10.
    """

    def product(a, b):
        if a < 5:
            return (a + b) % 5 + 5 * (b >= 5) if b < 5 else (a + b - 5) % 5 + 5
        return (a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5

    base = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)

    def permuted(digit, times):
        for _ in range(times % 8):
            digit = base[digit]
        return digit

    def check(code):
        value = 0
        for place, digit in enumerate(reversed(code)):
            value = product(value, permuted(int(digit), place))
        return value

    assert check("2363") == 0 and check("2364") != 0
    for label, known in {**SCORED, **OTHERS}.items():
        assert all(check(code) == 0 for code in known), label


def test_equal_codes_are_one_label_and_no_code_is_no_label():
    for code in ("733534002", "164909002"):
        assert diagnoses([code])["LBBB"] == 1 and sum(diagnoses([code]).values()) == 1
    assert diagnoses(["164865005"]) == dict.fromkeys(SCORED, 0)
    assert diagnoses(["164865005"], others=True)["MI"] == 1 and list(diagnoses(["164865005"])) == list(SCORED)
    assert diagnoses([]) == {}
