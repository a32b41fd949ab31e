"""Scores, intervals, reference predictors and tables."""
