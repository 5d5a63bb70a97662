"""What the driver decides by itself, without engines: `python3 -m unittest discover bench`."""

import math
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import checks
import figure
import run
import table
from jobs import Bench


class Deciding(unittest.TestCase):
    def test_a_verdict_says_by_how_much_a_bar_is_missed(self):
        def check(value, bar, stretch, more, want):
            self.assertEqual(table.verdict(value, bar, stretch, more), want)

        check(5.0, 3, 5, True, "stretch")
        check(3.0, 3, 5, True, "reached")
        check(1.5, 3, 5, True, "**missed by 50 %**")
        check(2.0, 3, 1, False, "reached")
        check(6.0, 3, None, False, "**missed by 100 %**")

    def test_a_job_is_as_large_as_its_budget_allows_and_never_under_three_runs(self):
        cost = lambda engine, size: size * engine.seconds

        def check(seconds, budget, want):
            engines = [SimpleNamespace(seconds=it) for it in seconds]
            got = Bench.choose(SimpleNamespace(runs=5), [64, 32, 16], cost, engines, budget)
            self.assertEqual(got, want)

        check([0.1, 0.1], 100, (64, 5))  # 12.8 s a round
        check([0.1, 0.2], 60, (32, 5))  # 9.6 s a round
        check([1.0, 0.2], 60, (16, 3))  # 19.2 s a round: three fit
        check([9.0, 9.0], 60, (16, 3))  # nothing fits: the least there is

    def test_answers_are_compared_up_to_where_they_part(self):
        def check(a, b, want):
            self.assertEqual(checks.equal_start(a, b), want)

        check([1, 2, 3], [1, 2, 3], 3)
        check([1, 2, 3], [1, 9, 3], 1)
        check([1, 2], [1, 2, 3], 2)
        check([], [1], 0)

    def test_the_least_cosine_is_that_of_the_worst_row(self):
        a, b = [1.0, 0.0, 0.0, 2.0], [3.0, 0.0, 1.0, 1.0]
        self.assertEqual(checks.least_cosine(a, b, 2, 1), 1.0)
        self.assertAlmostEqual(checks.least_cosine(a, b, 2, 2), math.sqrt(0.5))
        self.assertTrue(math.isnan(checks.cosine([0.0], [1.0])))

    def test_tables_of_cosines_differ_by_their_largest_gap(self):
        self.assertEqual(checks.largest_gap([[1.0, 0.5], [0.25, 0.0]], [[1.0, 0.5], [0.5, 0.125]]), 0.25)


class Writing(unittest.TestCase):
    def test_only_what_lies_between_the_markers_is_written_again(self):
        with tempfile.TemporaryDirectory() as folder:
            readme = Path(folder) / "README.md"
            readme.write_text(f"before\n{table.START}\nold\n{table.END}\nafter\n")
            table.write_between_markers(readme, "new")
            table.write_between_markers(readme, "newer")
            text = readme.read_text()
        self.assertEqual(text, f"before\n{table.START}\n\nnewer\n\n{table.END}\nafter\n")

    def test_axes_have_two_to_six_ticks(self):
        for low, high in [(1, 2), (9, 11000), (40, 60), (0.3, 7), (1.4, 1.9)]:
            ticks = figure.ticks(low, high)
            self.assertTrue(2 <= len(ticks) <= 6 and all(low <= it <= high for it in ticks), (low, high, ticks))

    def test_what_is_published_names_no_folder(self):
        text = run.without_paths("cannot read /home/me/x-y/model.gguf/config.json: no 1/2 there")
        self.assertEqual(text, "cannot read config.json: no 1/2 there")

    def test_a_results_file_is_named_by_what_the_processor_can_do(self):
        def check(flags, forced, want):
            about = {"cpu": "Some CPU @ 2.0GHz", "flags": flags, "threads": 2}
            self.assertEqual(run.file_name(about, forced), want)

        check(["avx2"], None, "some-cpu-2-0ghz-avx2-2-threads")
        check(["amx_bf16", "avx2", "avx512f"], None, "some-cpu-2-0ghz-amx-2-threads")
        check(["amx_bf16", "avx2", "avx512f"], "avx2", "some-cpu-2-0ghz-forced-avx2-2-threads")


if __name__ == "__main__":
    unittest.main()
