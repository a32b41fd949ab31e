"""The simulated cohort: one heart per subject, from which ECG, CMR, phenotypes and raw files follow."""
