"""Judging: a round's formulas merged by function, looked up, trained by the reward, stored and ranked."""
