"""The programs that are measured, each in a process of its own: a package for each way, a module for each work.

A module has `async def run(work: Work) -> Figures`. Those of `faststream` run in an environment of their own and import
nothing but FastStream, attrs and this package's neighbours that need no Callboard.
"""
