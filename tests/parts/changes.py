"""Every kind of change between two snapshots, by name; and random ones."""

import zarr
from histories import Change, attributes, create, delete, group, resize, write
from hypothesis import strategies as st

BASE: tuple[Change, ...] = (
    create("a"),
    create("g/b", 7),
    create("g/h/c"),
    attributes("", title="t"),
)

CHANGES: dict[str, tuple[Change, ...]] = {
    "nothing": (),
    "chunk changed": (write("a", slice(0, 3), 9),),
    "chunk added": (resize("a", 12, 5),),
    "chunk became missing": (write("a", slice(3, 6), 0),),
    "array appended within its last chunk": (resize("a", 9, 5),),
    "array resized smaller": (resize("a", 4),),
    "array resized to nothing": (resize("a", 0),),
    "chunk shape changed": (create("a", chunks=(4,)),),
    "codec changed": (create("a", compressors=None),),
    "dtype changed": (create("a", dtype="f8"),),
    "one axis more": (create("a", shape=(4, 2), chunks=(2, 2)),),
    "fill value changed": (create("a", fill_value=1),),
    "attributes changed": (attributes("a", units="m"), attributes("g", about="b")),
    "attributes removed": (attributes(""),),
    "decoding attributes changed": (attributes("a", scale_factor=0.5), write("a", slice(0, 3), 2)),
    "array deleted": (delete("a"),),
    "array deleted and created again": (delete("a"), create("a", 5)),
    "group added": (group("new/deep"), create("new/deep/x")),
    "group deleted": (delete("g"),),
    "array becomes a group": (delete("a"), group("a"), create("a/0"), create("a/c")),
    "group becomes an array": (delete("g"), create("g")),
}

NEXT: tuple[Change, ...] = (
    create("a", dtype="f8"),
    write("g/b", slice(0, 3), 9),
    delete("g/h/c"),
    create("n"),
)
OTHER: tuple[Change, ...] = (resize("g/b", 12, 4), create("n", 5, chunks=(2,)))
"""Changes of every kind at once; and what another export after them changes."""

NAMES = st.sampled_from(["a", "g/b", "g/h/c", "n"])
RANDOM_CHANGE: st.SearchStrategy[Change] = st.one_of(
    st.builds(create, NAMES, st.integers(0, 9), chunks=st.sampled_from([(2,), (3,)])),
    st.builds(create, NAMES, st.integers(0, 9), dtype=st.sampled_from(["i2", "f4"])),
    st.builds(lambda name, n: resize_if_there(name, n), NAMES, st.integers(0, 12)),
    st.builds(
        lambda name, i, v: write_if_there(name, i, v), NAMES, st.integers(0, 8), st.integers(0, 3)
    ),
    st.builds(lambda name: delete_if_there(name), st.sampled_from(["a", "g", "g/h", "g/b", "n"])),
    st.builds(lambda n: attributes("", n=n), st.integers(0, 3)),
)

LARGE_BASE: tuple[Change, ...] = (create("a", 40, chunks=(1,)), create("g/b", 7), create("g/h/c"))
LARGE_CHANGE: st.SearchStrategy[Change] = st.one_of(
    RANDOM_CHANGE,
    st.builds(create, NAMES, st.integers(20, 90), chunks=st.just((1,))),
    st.builds(lambda name, n: resize_if_there(name, n), NAMES, st.integers(0, 90)),
    *[
        st.builds(lambda name, i, v: write_if_there(name, i, v), NAMES, i, st.integers(0, 3))
        for i in (st.integers(0, 60), st.integers(20, 40))
    ],
    st.builds(
        lambda name, rows: create(name, shape=(rows, 5), chunks=(1, 2)),
        NAMES,
        st.integers(0, 20),
    ),
)
"""Of arrays that are several sections, of one axis or two."""


def if_array(name: str, change: Change) -> Change:
    return lambda root: change(root) if isinstance(root.get(name), zarr.Array) else None


def resize_if_there(name: str, n: int) -> Change:
    return if_array(name, resize(name, n, 7))


def write_if_there(name: str, start: int, value: int) -> Change:
    return if_array(name, write(name, slice(start, start + 3), value))


def delete_if_there(name: str) -> Change:
    return lambda root: delete(name)(root) if name in root else None
