"""A blind study: which of two answers do people prefer?

    python training/study.py serve study/sketch study/segmentation --votes votes.jsonl
    python training/study.py report votes.jsonl

Each folder is one kind of input. It holds inputs/, and a folder of answers for each system; pictures of the same name
belong together. The page shows an input and two answers, in an order and on sides of each voter's own, and now and
then a pair of which one is scrambled: who prefers that is not counted. Votes are added to the file at once. The report
has a row for each two systems and kind of input.
"""

import sys

from training.settings.flags import parse
from training.settings.study import ReportSettings, ServeSettings, StudySettings


def parse_args(words: list[str] | None = None) -> ServeSettings | ReportSettings:
    """What is asked for, and its settings."""
    return parse(StudySettings, words, __doc__)


def serve(settings: ServeSettings) -> None:
    """Read the study, and show its page."""
    from psp_hub.demo.launch import default_address
    from training.voting.page import serve as serve_page
    from training.voting.pairs import Study

    host, port = default_address()
    study = Study(settings.folders, settings.ours)
    serve_page(study, settings.votes, settings.host or host, settings.port or port)


def report(settings: ReportSettings) -> None:
    """Print the table."""
    from training.voting.report import make_report
    from training.voting.votes import VotesFile

    if missing := [str(path) for path in settings.votes if not path.is_file()]:
        raise ValueError(f"no such file: {', '.join(missing)}")
    print(make_report([vote for path in settings.votes for vote in VotesFile(path).read()], settings.ours))


def main(settings: ServeSettings | ReportSettings) -> None:
    serve(settings) if isinstance(settings, ServeSettings) else report(settings)


if __name__ == "__main__":
    try:
        main(parse_args())
    except (ValueError, OSError) as error:
        sys.exit(f"study.py: {error}")
