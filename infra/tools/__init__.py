"""Tools of tests and documentation: browser, helm, promtool, dashboards, screenshots."""
