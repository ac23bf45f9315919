"""A plain page, and the same in a bare Panel page: `python -m infra.bench.yardsticks 'plain HTML' PAGE PORT`."""

import sys
from pathlib import Path

import panel as pn
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler


class _PlainHandler(RequestHandler):
    def initialize(self, body: bytes) -> None:
        """Take the page."""
        self.body = body

    def get(self) -> None:
        """Answer with the page."""
        self.write(self.body)


def main(kind: str, path: str, port: str) -> None:
    """Serve until ended."""
    text = Path(path).read_text(encoding="utf-8")
    if kind == "plain HTML":
        Application([("/", _PlainHandler, {"body": text.encode()})], compress_response=True).listen(
            int(port), address="127.0.0.1"
        )
        IOLoop.current().start()
    else:
        pn.serve(lambda: pn.pane.HTML(text), address="127.0.0.1", port=int(port), show=False, title="Matches")


if __name__ == "__main__":
    main(*sys.argv[1:])
