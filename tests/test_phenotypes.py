"""The table of phenotypes against counts and names that are known from elsewhere."""

import subprocess
import sys

import pytest

from mmcl.phenotypes import GROUPS, PHENOTYPES, SEGMENTS, TARGETS, read_phenotypes

HEADER = "field,name,unit,group,target,meaning\n"


def test_the_82_fields_of_category_157():
    assert [p.field for p in PHENOTYPES] == list(range(24100, 24182))
    assert len({p.name for p in PHENOTYPES}) == len({p.meaning for p in PHENOTYPES}) == 82
    names = {p.field: (p.name, p.unit) for p in PHENOTYPES}
    assert names[24103] == ("LVEF", "%") and names[24105] == ("LVM", "g") and names[24109] == ("RVEF", "%")
    assert (
        names[24140] == ("WT_global", "mm") and names[24157] == ("Ecc_global", "%") and names[24181][0] == "Ell_global"
    )


def test_the_method_regresses_61():
    sizes = {group: len(names) for group, names in GROUPS.items()}
    assert sizes == {"LV": 6, "RV": 4, "WT": 17, "Ecc": 17, "Err": 17} and sum(sizes.values()) == len(TARGETS) == 61
    assert TARGETS == tuple(name for names in GROUPS.values() for name in names)
    assert {p.group for p in PHENOTYPES if not p.target} == {"LA", "RA", "Aorta", "Ell"}
    assert GROUPS["WT"] == (*(f"WT_{segment}" for segment in SEGMENTS), "WT_global")


def test_what_they_are_in_words():
    meanings = {p.name: p.meaning for p in PHENOTYPES}
    assert meanings["RVESV"] == "end-systolic volume of the right ventricle"
    assert "basal inferoseptal" in meanings["WT_3"] and "apical lateral" in meanings["Ecc_16"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,field\n", "columns"),
        (HEADER + "24100,LVEDV,ml,LV,yes,a\n24100,LVESV,ml,LV,yes,b\n", "field 24100 is there twice"),
        (HEADER + "24100,LVEDV,ml,LV,yes,a\n24101,LVEDV,ml,LV,yes,b\n", "name LVEDV is there twice"),
        (HEADER + "24100,LVEDV,ml,LV,perhaps,a\n", "yes or no as target"),
        (HEADER + "24100,LVEDV,,LV,yes,a\n", "row"),
        (HEADER + "24100,LVEDV,ml,LV,yes\n", "row"),
    ],
)
def test_a_bad_table_is_an_error(tmp_path, text, message):
    path = tmp_path / "phenotypes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"phenotypes.csv: .*{message}"):
        read_phenotypes(path)


def test_importing_them_imports_nothing_heavy():
    heavy = "import sys, mmcl.phenotypes; print([m for m in ('numpy', 'pandas', 'torch', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
