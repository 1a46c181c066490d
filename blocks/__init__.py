"""Prefect blocks of prefect-freight."""
