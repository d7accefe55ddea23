"""`psp-hub push`: a model or a generator to the Hub."""

import argparse
import json
import sys
from pathlib import Path

from psp_hub.cli.output import say
from psp_hub.generators import BUILTIN, is_saved_generator, load_generator, push_generator
from psp_hub.hub.transfer import CARD_NAME
from psp_hub.model import PSPModel
from psp_hub.pretrained import EVALUATION_NAME


def push(options: argparse.Namespace) -> int:
    """`psp-hub push`: a model with its card and figures, or a generator. It is loaded first: what is broken stays."""
    keywords = {name: getattr(options, name) for name in ("private", "variant", "revision", "create_pr", "tag")}
    if options.source in BUILTIN or is_saved_generator(options.source):
        commit = push_generator(load_generator(options.source), options.repo_id, **keywords)
    else:
        folder = Path(options.source)
        model = PSPModel.from_pretrained(folder, torch_dtype=None)  # in the precision that it was saved in
        card, evaluation = folder / CARD_NAME, folder / EVALUATION_NAME
        commit = model.push_to_hub(
            options.repo_id,
            include_generator=options.include_generator,
            card=card.read_text(encoding="utf-8") if card.is_file() else None,
            evaluation=json.loads(evaluation.read_text(encoding="utf-8")) if evaluation.is_file() else None,
            **keywords,
        )
    say(f"{options.source} -> {commit.pr_url or commit.commit_url}", sys.stdout)
    return 0
