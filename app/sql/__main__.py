"""`python -m app.sql`: the process in which one query of a stranger runs; started by `app.sql.cells` alone."""

from app.sql.confine import confine

# before anything else is imported: a thread that exists by then would keep its rights
confine()

from app.sql.cell import main  # noqa: E402

main()
