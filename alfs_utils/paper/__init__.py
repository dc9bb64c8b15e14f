"""What the paper used, printed and claims, and what judges it. No part of an installed package.

"The paper" is Zhou, Liu, Jiang, Gao and Ji, "Asymmetric Loss Functions for Learning with Noisy
Labels", ICML 2021.

- `printed`: the accuracies of Tables 1 to 3. `protocol`: the recipe behind them, and which run is
  which cell. `which_runs`: which runs make the tables, the figures and what the book adds.
  `table_3`: training a row of WebVision.
- `sentences`: the paper's sentences on which loss does better, as predicates. `comparison`: ours
  beside the paper's. `features`: Figure 5.
- `short_runs`, `census`: runs of an epoch that are watched closely, and which lose a class.
- `verdicts`: our verdict on every statement, with the check in `checks` that establishes it.
- `figures`, `pages`: what the chapters draw and tabulate. `commands`: what the command line runs.
"""
