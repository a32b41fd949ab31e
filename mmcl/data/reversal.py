"""Arm and leg electrodes on the wrong limbs, told from a 12-lead ECG. Nothing is corrected here.

Chest leads do not change when electrodes of the right arm (RA), the left arm (LA) and the left leg (LL) are exchanged,
for they are taken against the mean of the three. V6 looks at the heart from the left, and the right arm sees it from
behind: of aVR, aVL and aVF, which are the potentials of RA, LA and LL, aVR is the most unlike V6. Where another is, the
electrode of the right arm lies there. The classical signs, a lead I (II) that is upside down with an upright aVR, are
the same in words. Correlations between leads as judges, with V6 for the arms: Kors and van Herpen 2001, American
Journal of Cardiology 88:396; Jekova et al. 2016, Computer Methods and Programs in Biomedicine 134:31.

Bounds were chosen on 800 simulated subjects, seeds 0 and 5, with a look at seven real recordings, and rated on others,
electrodes exchanged by algebra: `mmcl.simulate_cohort(1000, seed=1, images=False)`, and seed 2 with `odds=(6, 6, 3)`,
who are much iller. A simulated heart is not every heart: what people have may raise both errors.

| truth | of 1,000, named rightly | of 1,000 iller ones | named as the other |
|---|---|---|---|
| RA-LA | 953 | 951 | 4 and 5 |
| RA-LL | 912 | 910 | 2 and 3 |
| as they should be | 999 | 998 | 1 and 2 false alarms |

LA-LL turns I into II, and a healthy heart may look like either: it is not looked for (1 and 2 of 1,000 are flagged as
something else), nor are exchanges with the right leg or among chest leads. A heart on the right side of the chest looks
like RA-LA. In atrial fibrillation and paced rhythm QRS and T waves decide alone.
"""

from __future__ import annotations

import numpy as np

from mmcl.config import LEADS
from mmcl.data.ecg_beats import detect_qrs, median_beat, remove_wander

_RATE = 125
"""Hz; the shapes of P, QRS and T remain, and the work is a quarter."""

INVERTED = -0.5
"""Correlation with V6 below which lead I (arms exchanged) or II (right arm and leg) is upside down."""

OPPOSITE = -0.6
"""Correlation with V6 below which a limb lies where the right arm should."""

MARGIN = 0.2
"""By so much less than aVR, whose own correlation is about -0.93."""


def limb_reversal(signal: np.ndarray, rate: float, usable: np.ndarray | None = None) -> str | None:
    """`RA-LA` or `RA-LL` where these electrodes are exchanged, else None; `signal` (12, samples) in any unit.

    `usable` (12,) marks leads with a signal, all where None. Without I, II and one of V6 and V5, or fewer than two
    whole beats, nothing is told.
    """
    usable = np.ones(len(LEADS), dtype=bool) if usable is None else usable
    judge = next((LEADS.index(name) for name in ("V6", "V5") if usable[LEADS.index(name)]), None)
    if judge is None or not usable[[LEADS.index("I"), LEADS.index("II")]].all():
        return None
    step = max(1, round(rate / _RATE))
    length = signal.shape[1] // step
    pooled = signal[:, : length * step].reshape(len(LEADS), length, step).mean(axis=-1)
    still = remove_wander(np.where(usable[:, None], pooled, 0.0), rate / step)
    beat = median_beat(still, detect_qrs(still, rate / step), rate / step)
    if beat is None:
        return None
    one, two, judge = beat.leads[[LEADS.index("I"), LEADS.index("II"), judge]]
    right, left, foot = (_correlation(lead, judge) for lead in (-(one + two), one - two / 2, two - one / 2))
    for name, inverted, there in (("RA-LA", one, left), ("RA-LL", two, foot)):
        least = there == min(right, left, foot) and there < min(OPPOSITE, right - MARGIN)
        if least and _correlation(inverted, judge) < INVERTED:
            return name
    return None


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    one, two = one - one.mean(), two - two.mean()
    size = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / size if size > 0 else 0.0
