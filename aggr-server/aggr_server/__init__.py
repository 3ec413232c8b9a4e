"""Collector: every trade of many exchanges, reduced to exact one-second bars."""
