"""The command `kfdet`: one module a group of verbs, imported only when the verb is used."""
