"""Prefect flows of prefect-freight."""
