"""What tests of the questions' commands share."""

import argparse
import json
import lzma

from nb_evaluation.runs.folder import PACK, read_lines


def stored(folder):
    """The finished runs of a folder as they are stored, by method and seed."""
    lines = [line.content for line in read_lines(folder)]
    specs = [json.loads(line)["spec"] for line in lines]
    return {(spec["method"], spec["seed"]): line for spec, line in zip(specs, lines, strict=True)}


def drop(folder, method):
    """Remove a method's runs from the packed file of a folder."""
    kept = [line for (name, _), line in stored(folder).items() if name != method]
    (folder / PACK).write_bytes(lzma.compress(b"".join(line + b"\n" for line in kept)))


def parse(question, *arguments):
    """A question's own options."""
    parser = argparse.ArgumentParser()
    question.add_options(parser)
    return parser.parse_args(arguments)
