"""The simulated robot cell: MuJoCo world, tasks, scripted expert, collection, rollout, evaluation.

Nothing here reads a clock; all randomness comes from an explicit generator or seed. The policy under
test sees only what a real cell gives: images, calibration, the arm's own state, an instruction.
"""
