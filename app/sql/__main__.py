"""`python -m app.sql FD`: enters the sandbox, then runs the fork server. Alone: nothing may be imported before."""

from app.sql.sandbox import enter_sandbox

# before anything else is imported: a thread that exists by then would keep its rights
enter_sandbox()

from app.sql.forkserver import main  # noqa: E402

main()
