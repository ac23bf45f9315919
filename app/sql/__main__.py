"""`python -m app.sql FD`: the process whose forks run queries of strangers; started by `app.sql.parent` alone."""

from app.sql.confine import confine

# before anything else is imported: a thread that exists by then would keep its rights
confine()

from app.sql.forking import main  # noqa: E402

main()
