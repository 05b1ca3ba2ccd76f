"""lm-evaluation-harness scores texts by a running server as `flash-moe eval` does.

It needs PyPI's `lm_eval[api]`, which is large and not among the clients that `make venv-clients` installs:
  python3 -m venv /tmp/harness && /tmp/harness/bin/pip install 'lm_eval[api]'
  FLASHMOE_PYTHON=/tmp/harness/bin/python ctest --preset release-test -R server.ScoresForLmEval
The tasks are made here, and nothing is fetched.
"""

import json
import os
import pathlib
import tempfile
import unittest

FOLDER = tempfile.TemporaryDirectory()
os.environ.update(HF_HOME=FOLDER.name, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", OPENAI_API_KEY="none")

import lm_eval
from lm_eval.tasks import TaskManager

from scoring_test import TEXT, evaluated
from serving import Server

TEXTS = [TEXT, "The sea is wide, and the boats are small.\nThe wind blows from the north.\n"]
QUESTIONS = [("The capital of France is", ["Paris", "a small dog", "42"], 0),
             ("def add(a, b):\n    return", ["a + b", "the sea", "春天来了"], 0)]

TASKS = {
    "rolling": ({"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
                 "metric_list": [{"metric": "bits_per_byte"}]},
                [{"text": text} for text in TEXTS]),
    "choices": ({"output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
                 "doc_to_choice": "{{choices}}", "metric_list": [{"metric": "acc"}]},
                [{"question": question, "choices": choices, "answer": answer}
                 for question, choices, answer in QUESTIONS]),
}


def write_tasks(folder):
    for name, (task, rows) in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        # YAML reads JSON.
        (folder / f"{name}.yaml").write_text(json.dumps({
            "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test", **task}))


class LmEval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", "2")
        folder = pathlib.Path(FOLDER.name)
        write_tasks(folder)
        results = lm_eval.simple_evaluate(
            model="local-completions", tasks=list(TASKS), bootstrap_iters=0, batch_size=2,
            model_args={"model": "sprout", "base_url": cls.server.url + "/v1/completions", "num_concurrent": 2,
                        "tokenizer_backend": "remote", "max_length": 1024},
            task_manager=TaskManager(include_path=str(folder)))
        cls.samples = results["samples"]

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0
        FOLDER.cleanup()

    def ids(self, text):
        return self.server.post("/tokenize", {"content": text})["tokens"]

    def assert_likelihood(self, scored, expected, ids):
        print(f"lm_eval {scored:.6f}, flash-moe eval {expected:.6f}, {len(ids)} tokens")
        self.assertAlmostEqual(scored, expected, delta=len(ids) * 1e-6)

    def test_texts_are_as_likely_as_eval_says(self):
        # The harness has the first token predicted, too, after the one that it asks for as a prefix.
        prefix = self.ids(json.loads(self.server.get("/tokenizer_info"))["eos_token"])
        self.assertEqual(len(self.samples["rolling"]), len(TEXTS))
        for sample in self.samples["rolling"]:
            ids = prefix + self.ids(sample["doc"]["text"])
            scored = sample["resps"][0][0]
            self.assert_likelihood(float(scored[0] if isinstance(scored, (list, tuple)) else scored),
                                   evaluated(ids), ids)

    def test_choices_are_as_likely_as_eval_says(self):
        self.assertEqual(len(self.samples["choices"]), len(QUESTIONS))
        for sample in self.samples["choices"]:
            context = self.ids(sample["doc"]["question"])
            for choice, response in zip(sample["doc"]["choices"], sample["resps"]):
                ids = self.ids(sample["doc"]["question"] + " " + choice)
                self.assertEqual(ids[:len(context)], context)
                self.assert_likelihood(float(response[0][0]), evaluated(ids) - evaluated(context), ids)


if __name__ == "__main__":
    unittest.main()
