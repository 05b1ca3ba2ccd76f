"""Pages that are made from what the repository has are what it has."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import make_model_table


class Docs(unittest.TestCase):
    maxDiff = None

    def test_the_table_of_models_is_what_the_tests_say(self):
        self.assertEqual(make_model_table.parts_of_page()[1], make_model_table.table(),
                         "tools/make_model_table.py --write brings docs/models.md up to date")


unittest.main()
