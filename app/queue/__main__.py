"""`python -m app.queue list | retry TASK | drop TASK`: the jobs that were given up."""

import argparse
import asyncio
import sys

from app.errors import ServiceError
from app.queue.dead_letters import DeadLetters
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.settings import Settings


async def run(settings: Settings, action: str, task_id: str | None) -> list[str]:
    """Do it; the lines to print."""
    redis = connect(settings)
    letters = DeadLetters(redis, RedisKeys(settings.queue_name))
    try:
        if action == "list" or task_id is None:
            found = await letters.all()
            lines = [f"{each.died_at:%Y-%m-%d %H:%M:%S}  {each.job_id}  {each.reason}" for each in found]
            return lines or ["no job was given up"]
        await (letters.retry(task_id) if action == "retry" else letters.drop(task_id))
        return [f"{task_id}: {'waits again' if action == 'retry' else 'dropped'}"]
    finally:
        await disconnect(redis)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/jobs", description="The jobs that workers have given up.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="newest first")
    for action, text in (("retry", "put it back into the queue"), ("drop", "forget it")):
        actions.add_parser(action, help=text).add_argument("task_id")
    arguments = parser.parse_args()
    try:
        lines = asyncio.run(run(Settings(), arguments.action, getattr(arguments, "task_id", None)))
    except ServiceError as error:
        sys.exit(error.detail)
    except REDIS_ERRORS as error:
        sys.exit(f"Redis cannot be reached: {error}")
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
