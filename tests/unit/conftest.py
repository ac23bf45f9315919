from hypothesis import settings

# a busy machine makes single examples slow; the timeout of the whole test still holds
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
