"""Devices, threads, memory budgets and progress bars."""
