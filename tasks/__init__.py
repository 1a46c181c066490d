"""Prefect tasks of prefect-freight."""
