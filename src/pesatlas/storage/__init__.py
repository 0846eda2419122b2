"""Files that survive kills: ledgers of results, the store that addresses them by content, atomic writes, files shared by a group."""
