"""Measurements that anyone can repeat (`make bench`); nothing here is asserted, everything is printed."""
