#!/bin/bash
# Initiates the replica set and makes a user for each service, who reaches its own database only. Safe to repeat.
set -euo pipefail
mongosh --quiet "mongodb://mongo:27017/admin?directConnection=true" --username admin --password "$MONGO_ADMIN_PASSWORD" --eval '
  try { rs.status() } catch (e) { rs.initiate({_id: "rs0", members: [{_id: 0, host: "mongo:27017"}]}) }
  while (!db.hello().isWritablePrimary) { sleep(200) }
  for (const name of ["intake", "routing", "tracking", "notification", "desk"]) {
    const user = {pwd: process.env[`MONGO_${name.toUpperCase()}_PASSWORD`], roles: [{role: "readWrite", db: name}]}
    const own = db.getSiblingDB(name)
    if (own.getUser(name)) { own.updateUser(name, user) } else { own.createUser({user: name, ...user}) }
  }
  print("users are there")
'
