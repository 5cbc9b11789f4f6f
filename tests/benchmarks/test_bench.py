"""The speed table of the documentation is what was measured."""

from __future__ import annotations

from scripts import load_script

bench = load_script("benchmarks/bench.py")


def test_the_page_shows_what_the_file_holds() -> None:
    rows = bench.kept()
    assert rows
    page = bench.PAGE.read_text(encoding="utf-8")
    assert bench.with_table(page, rows.values()) == page


def test_a_new_figure_changes_the_table_alone() -> None:
    row = dict.fromkeys(bench.FIELDS, "1") | {"measure": "command", "cpu_s": "2.345", "machine": "a machine"}
    page = bench.with_table("before\n" + bench.BEGIN + "old\n" + bench.END + "after\n", [row])
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "2.35" in page or "2.34" in page
    assert "old" not in page
