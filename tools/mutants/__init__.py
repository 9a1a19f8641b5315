"""
Mutants of the library: its own code with one fault planted at a time, each of which the project's tests have to find.

A green suite says little of a fault that no test would notice. Here each mechanism on which the guarantees rest is
broken by hand, in a copy of the package, and the tests that are there for it are run against that copy.

* `mutant`: what a mutant is, and how it is planted;
* `of_the_clock`, `of_the_engine`, `of_campaigns`, `of_views`, `of_witnesses`, `of_local_stores`, `of_etcd`,
  `of_consul`, `of_zookeeper`: the mutants, and `catalogue`: all of them;
* `plugin`: what pytest writes down for the runner;
* `runner`: plants, runs, judges;
* `page`: the table of docs/mutants.md, from the figures of the last whole run in `recorded.json`.

`PYTHONPATH=tools python -m mutants`, or `make mutants`.
"""
