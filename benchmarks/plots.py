def write(*a):
    pass


def ratio_bars(*a):
    pass
