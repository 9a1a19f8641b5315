"""
Whatever is done to a line of a chained audit whose last hash was kept, it is never judged valid.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from audits import Audit, last_hash, night, written
from hypothesis import assume, given
from hypothesis import strategies as st

from leadership.audit import Verdict, verify

PLACES = st.integers(0, 9)


@given(what=st.sampled_from(["drop", "edit", "swap", "double", "cut"]), one=PLACES, two=PLACES, data=st.data())
def test_a_tampered_audit_is_never_valid(what: str, one: int, two: int, data: st.DataObject) -> None:
    """
    A line dropped, edited in one byte, swapped with another, written twice, or all from it on cut off.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = night()["birch"].write(Path(folder) / "birch.jsonl", chain=True)
        anchor = last_hash(path)
        assert Verdict.VALID is verify(path, anchors=[anchor]).verdict
        lines = path.read_bytes().splitlines(keepends=True)
        match what:
            case "drop":
                del lines[one]
            case "edit":
                line = lines[one]
                at = data.draw(st.integers(len('{"v":'), len(line) - 2))
                byte = data.draw(st.sampled_from(b'0123456789abcdefxyz"{}[]:, '))
                assume(line[at] != byte)
                lines[one] = line[:at] + bytes([byte]) + line[at + 1 :]
            case "swap":
                assume(one != two)
                lines[one], lines[two] = lines[two], lines[one]
            case "double":
                lines.insert(two, lines[one])
            case _:
                del lines[one:]
                assume(lines)
        path.write_bytes(b"".join(lines))

        assert Verdict.VALID is not judged_or_refused(path, anchor)


def judged_or_refused(path: Path, anchor: str) -> Verdict:
    """
    A line that claims to be of a later version is refused, which is not valid either.
    """
    from leadership.errors import ConfigError

    try:
        return verify(path, anchors=[anchor]).verdict
    except ConfigError:
        return Verdict.UNKNOWN


def test_joined_audits_are_not_called_edited(tmp_path: Path) -> None:
    """
    Whole chained audits in one file: each chain holds, and what stood behind the first one is not known.
    """
    paths = written(tmp_path, night(), chain=True)
    both = tmp_path / "both.jsonl"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    judged = verify(both)

    assert (Verdict.UNKNOWN, {"edited_record"}) == (judged.verdict, {finding.kind for finding in judged.findings})
    assert "begins another chain" in judged.findings[0].what
    lines = both.read_bytes().splitlines(keepends=True)
    lines[-2] = lines[-2].replace(b'"attempt":1', b'"attempt":2')
    both.write_bytes(b"".join(lines))
    assert Verdict.INVALID is verify(both).verdict


def test_blank_lines_are_left_out(tmp_path: Path) -> None:
    """
    Lines of nothing but white space are none; a line whose bytes were changed is another one.
    """
    path = Audit("birch").stand(0.0).stopped(1.0).write(tmp_path / "birch.jsonl", chain=True)
    whole = path.read_bytes()
    path.write_bytes(b"\r\n" + whole.replace(b"\n", b"\n \n\n\t\r\n", 2))
    assert Verdict.VALID is verify(path).verdict
    path.write_bytes(whole.replace(b"\n", b"\r\n"))
    assert Verdict.INVALID is verify(path).verdict
