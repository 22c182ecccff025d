"""Large texts are scanned in slices, and nothing is lost or found twice where two meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan import slices
from mitmgate.scan.engine import Scanner
from mitmgate.scan.slices import batches
from mitmgate.wire.surfaces import Surface, Text

AWS = "AKIA" + "JQGUKB22EGIU642N"


def text_of(text: str) -> Text:
    return Text(Surface.RESULTS, "/result", text)


@given(st.lists(st.integers(0, 90), max_size=8))
def test_slices_cover_all_texts_once(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "LARGEST", 16)
        patch.setattr(slices, "OVERLAP", 4)
        items = [text_of("x" * length) for length in lengths]
        owned: dict[int, list[tuple[int, int]]] = {index: [] for index in range(len(items))}
        for batch in batches(items):
            assert sum(len(part.item.text) for part in batch) <= 16
            for part in batch:
                owned[part.index].append((part.offset + part.low, part.offset + part.high))
    for index, spans in owned.items():
        covered = [place for start, end in spans for place in range(start, end)]
        assert covered == list(range(lengths[index]))


@pytest.mark.parametrize("pad", [0, 1, 10, 19, 20, 21, 40])
@pytest.mark.parametrize("edge", ["low", "high", "end"])
def test_a_value_at_the_edge_of_a_slice_is_found_once(
    scanner: Scanner, edge: str, pad: int
) -> None:
    step = slices.LARGEST - slices.OVERLAP
    place = {"low": step, "high": step + slices.OVERLAP // 2, "end": slices.LARGEST}[edge] - pad
    text = f"{'word ' * (place // 5)}{'.' * (place % 5 - 1)} {AWS} {'word ' * 300_000}"
    found = scanner.scan((text_of(text),), detectors={"secrets"})
    assert [text[f.start : f.end] for f in found] == [AWS]


def test_the_second_of_two_large_texts_is_scanned(scanner: Scanner) -> None:
    plain = "word " * 150_000
    found = scanner.scan((text_of(plain), text_of(f"{plain} {AWS}"), text_of(f"key {AWS}")))
    assert [f.start for f in found if f.detector == "secrets"] == [len(plain) + 1, 4]
