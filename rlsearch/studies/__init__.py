"""What trainings on fresh seeds show: paired statistics, verdicts in words, figures and files."""
