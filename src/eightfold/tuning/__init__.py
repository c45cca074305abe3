"""Finds the settings that run a model fastest on the machine at hand.

candidate  a model and the settings to run it with; what a turn of it gave; what is wanted
space      the candidates of a machine
standing   who leads, from noisy rounds
search     the fastest of a space, in few turns; `measure` is a function, so simulated machines test it
processes  that function for real: processes that stay alive between turns
tune       all of it for one model
"""
