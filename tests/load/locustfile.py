"""Mixed traffic as people and programs bring it: `scripts/load`, beside a running `scripts/run`.

A person opens the page of the day, filters, looks at money and asks for a live prediction now and then; a program
asks again for what it knows and reads whole lists. Nobody waits between questions longer than a second, so twenty
users here are some hundreds in life.
"""

import random
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.env import Environment

CARDS = "/predict/cards/"
FILTERS: tuple[dict[str, str], ...] = (
    {"status": "upcoming"},
    {"status": "finished", "sort": "-kickoff"},
    {"status": "upcoming", "sort": "-edge"},
    {"value": "true"},
    {"min_edge": "0.1"},
)
LIVE = "/predict/{match_id}"  # one name for all matches in the table


class Reader(FastHttpUser):
    """A person at the match page."""

    weight = 3
    wait_time = between(0.1, 1.0)
    match_ids: tuple[int, ...] = ()

    def on_start(self) -> None:
        """The matches to ask about."""
        with self.client.get(f"{CARDS}?status=upcoming&limit=200", name=CARDS) as response:
            self.match_ids = tuple(card["match_id"] for card in response.json()["items"])

    @task(8)
    def cards(self) -> None:
        """A page of cards under one of the common filters."""
        self.client.get(CARDS, params=random.choice(FILTERS), name=CARDS)

    @task(3)
    def money(self) -> None:
        """What the page shows above the list."""
        self.client.get("/predict/roi/", params={"status": "finished"}, name="/predict/roi/")
        self.client.get("/predict/facets/", name="/predict/facets/")

    @task(4)
    def live(self) -> None:
        """A live prediction of any match to come."""
        if self.match_ids:
            self.client.get(LIVE.format(match_id=random.choice(self.match_ids)), name=LIVE)


class Program(FastHttpUser):
    """A script that follows the odds."""

    weight = 1
    wait_time = between(0.1, 0.5)
    tag = ""

    @task(6)
    def known(self) -> None:
        """Odds again, which have hardly ever changed."""
        with self.client.get("/predict/odds/", headers={"If-None-Match": self.tag}, catch_response=True) as response:
            if response.status_code in {200, 304}:
                self.tag = response.headers.get("ETag", self.tag)
                response.success()

    @task(2)
    def regions(self) -> None:
        """ROI by region as CSV."""
        self.client.get("/predict/region-roi/", headers={"Accept": "text/csv"})

    @task(1)
    def everything(self) -> None:
        """All predictions as Arrow."""
        self.client.get("/predict/predictions/", headers={"Accept": "application/vnd.apache.arrow.stream"})


@events.quitting.add_listener
def fail_on_errors(environment: Environment, **_: Any) -> None:
    """A run with a failed request is a failed run."""
    if environment.stats.total.num_failures:
        environment.process_exit_code = 1
