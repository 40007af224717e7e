"""The offset that may be committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.kafka.offsets import PartitionProgress


@given(st.data())
def test_what_may_be_committed_is_the_first_unfinished_offset(data: st.DataObject) -> None:
    """Whatever the gaps between offsets and the order in which records finish, the committable offset never passes an
    unfinished record, and passes all that are finished before it."""
    gaps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=30))
    first = data.draw(st.integers(0, 5))
    progress = PartitionProgress(first)
    offsets = [first + sum(gaps[:count]) for count in range(len(gaps))]
    unread, open_, was = list(offsets), list[int](), progress.committable
    finished = data.draw(st.permutations(offsets))
    while unread or open_:
        if unread and (not open_ or data.draw(st.booleans())):
            open_.append(unread.pop(0))
            progress.began(open_[-1])
        else:
            done = next(offset for offset in finished if offset in open_)
            open_.remove(done)
            progress.finished(done)
            progress.finished(done)
        assert progress.committable == (open_[0] if open_ else progress.next)
        assert progress.unfinished == len(open_)
        assert progress.held >= progress.unfinished
        assert progress.committable >= was
        was = progress.committable
    assert progress.committable == offsets[-1] + 1
    assert progress.held == 0


def test_offsets_only_grow() -> None:
    """A record that was read before is an error of the reader."""
    progress = PartitionProgress(5)
    progress.began(7)
    with pytest.raises(ValueError, match="offset 7 was read after 7"):
        progress.began(7)
    with pytest.raises(ValueError, match="offset 4"):
        PartitionProgress(5).began(4)
