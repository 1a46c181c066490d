"""Numbers as people read them, and the summary of an export. Pure."""

from prefect_freight.model import ExportReport

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def format_objects(count: int) -> str:
    """Return how many objects there are.

    >>> format_objects(1), format_objects(4929)
    ('1 object', '4,929 objects')
    """
    return f"{count:,} object{'' if count == 1 else 's'}"


def format_bytes(size: float) -> str:
    """Return a size in decimal units.

    >>> format_bytes(124_600_000)
    '124.6 MB'
    """
    power = 0
    # Not 1000: what is above this would be rounded to "1000.0".
    while size >= 999.95 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.1f} {UNITS[power]}" if power else f"{size:.0f} B"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> format_duration(3_725), format_duration(39), format_duration(0.25)
    ('1 h 2 min', '39 s', '0.2 s')
    """
    # A tenth matters to who tries a small export, and to nobody after that.
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_rate(size: float, seconds: float) -> str:
    """Return bytes a second.

    >>> format_rate(1000, 0.5)
    '2.0 kB/s'
    """
    return f"{format_bytes(size / seconds)}/s" if seconds > 0 else "-"


def summary_rows(report: ExportReport) -> list[tuple[str, str]]:
    """Return the summary of an export, as names and values."""
    return [
        ("Objects transferred", f"{report.objects_transferred:,}"),
        ("Data transferred", format_bytes(report.bytes_transferred)),
        ("Export time", format_duration(report.seconds)),
        ("Transfer rate", format_rate(report.bytes_transferred, report.seconds)),
    ]
