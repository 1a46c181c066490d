"""What a flow run shows of a verification: its state's message, and an artifact. Pure text."""

from prefect_freight.flows.markdown import cell, code, table
from prefect_freight.plan.numbers import format_objects
from prefect_freight.verifying import Verification

MAX_SHOWN = 20
"""Keys of a kind: an artifact is read by people, and held in Prefect's database."""


def verification_line(verification: Verification) -> str:
    """Return what was found, as a line."""
    differences = verification.differences
    if verification.whole:
        return f"Whole by {verification.level}: {verification.snapshot}"
    examples = [f"{key!r} is missing" for key in differences.missing_keys[:1]]
    examples += [f"{key!r}: {cell(reason)}" for key, reason in differences.wrong_keys[:1]]
    more = differences.missing + differences.wrong - len(examples)
    examples += [f"and {more:,} more"] if more else []
    found = f"{format_objects(differences.missing)} missing, {differences.wrong:,} wrong"
    return f"Not whole by {verification.level}: {found} ({'; '.join(examples)})"


def verification_message(verification: Verification) -> str:
    """Return the message of a run that found a copy not to be whole, with what mends it."""
    parameters = f"ref={verification.snapshot}, format={verification.format}, verify=checksums"
    if verification.differences.taken:
        parameters += ", on_existing=replace"
    return (
        f"{verification_line(verification)}. {verification.cure} — or by a run of export-repo "
        f"with {parameters}"
    )


def verification_markdown(verification: Verification) -> str:
    """Return the findings of a verification."""
    differences, whole = verification.differences, verification.whole
    rows = [
        ("Objects missing", f"{differences.missing:,}"),
        ("Objects wrong", f"{differences.wrong:,}"),
        ("Objects beside the copy that are not ours", f"{differences.foreign:,}"),
        ("Objects never checked", f"{differences.unchecked:,}"),
        ("Compared by", verification.level),
        ("Destination", code(verification.destination)),
        ("Source", code(verification.source)),
        ("Ref", code(verification.ref)),
        ("Snapshot", code(verification.snapshot)),
        ("Format", verification.format),
    ]
    state = "The copy is whole" if whole else "The copy is **not** whole"
    parts = [f"# Verification of {code(verification.ref)}", f"{state}.", table(("", ""), rows)]
    findings = [(code(key), "missing") for key in differences.missing_keys[:MAX_SHOWN]]
    findings += [(code(key), reason) for key, reason in differences.wrong_keys[:MAX_SHOWN]]
    findings += [(code(key), "not ours") for key in differences.foreign_keys[:MAX_SHOWN]]
    if findings:
        more = differences.missing + differences.wrong + differences.foreign - len(findings)
        rest = f"\n\nand {more:,} more" if more else ""
        parts += ["## Found", table(("Object", "What was found"), findings) + rest]
    if verification.notes:
        parts += ["## Notes", "\n".join(f"- {cell(note)}" for note in verification.notes)]
    if verification.cure:
        parts.append(f"{cell(verification.cure)}")
    return "\n\n".join(parts) + "\n"
