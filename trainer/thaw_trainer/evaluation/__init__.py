"""What is said of the test rows beside their metrics: intervals, slices, calibration, the worst rows."""
