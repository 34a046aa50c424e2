"""One episode of an agent: what it saw, what it did and what that gave, step by step."""

from typing import Any

from thaw_trainer.outputs.svg import ACCENT, INK, MUTED, Plot, draw

_WIDTH = 380
_STYLES = ("-", "--", ":", "-.")


def episode_plot(episode: dict[str, Any]) -> Plot | None:
    """Panels for observations, actions and the summed rewards; None for an episode without steps."""
    steps = range(len(episode["rewards"]))
    if not steps:
        return None
    seen = [[float(value) for value in column] for column in zip(*episode["observations"], strict=True)]
    acted = [action if isinstance(action, list) else [action] for action in episode["actions"]]

    def paint(figure: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        observations, actions, rewards = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
        for index, column in enumerate(seen):
            colour = ACCENT if index % 2 else INK
            observations.plot(steps, column, color=colour, lw=1.1, ls=_STYLES[index // 2 % len(_STYLES)])
        of = f"the first {len(seen)} of {episode['numbers']}" if episode["numbers"] > len(seen) else f"{len(seen)}"
        observations.set_title(f"observations ({of} numbers)")
        for numbers in zip(*acted, strict=True):
            actions.step(steps, numbers, color=MUTED, lw=0.8, where="post")
        actions.set_title("actions")
        total, sums = 0.0, []
        for reward in episode["rewards"]:
            total += reward
            sums.append(total)
        rewards.plot(steps, sums, color=ACCENT, lw=1.6)
        rewards.set_title("rewards, summed")
        rewards.set_xlabel("step")
        rewards.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))

    return draw("episode", "The first test episode, step by step", _WIDTH, 360, paint)
