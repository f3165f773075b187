"""Devices, threads, processes, memory budgets and progress bars."""
