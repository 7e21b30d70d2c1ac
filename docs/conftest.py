"""Which files of this folder pytest leaves alone: the doctests of the pages are run, no program and no made page."""

collect_ignore_glob = ["*.py", "extensions/*", "measurements/*", "recipes/*", "examples/*", "recipe_pages/*", "api/*"]
