# The include graph, which bin/check enforces: a folder may include only what it needs here.
cairn_folder(base)
cairn_folder(pg NEEDS base)
cairn_folder(redis NEEDS base)
cairn_folder(http NEEDS base)
cairn_folder(embedded NEEDS base)
cairn_folder(api NEEDS base pg redis http)
