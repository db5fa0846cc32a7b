"""The Wan2.2-style video diffusion transformer with camera conditioning (method, sections 5 and 6).

Needs torch and diffusers, so nothing is imported here: take what is needed from `transformer`, `load`, `convert`,
`graph`; `rays` needs numpy only.
"""
