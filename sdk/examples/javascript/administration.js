// An administration's own system, with no SDK: reads its dossiers, checks each against the JSON Schema, acknowledges
// and answers it, and only then commits its offset. Stopped at any point, the next start goes on with what was not
// finished; what it repeats has the same id, and takes effect once.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { Kafka, logLevel, Partitioners } from 'kafkajs'

const { CHIKAYA_ADMINISTRATION: slug, CHIKAYA_KAFKA_BOOTSTRAP: bootstrap } = process.env
const { CHIKAYA_KAFKA_USER: username, CHIKAYA_KAFKA_PASSWORD: password, CHIKAYA_KAFKA_SECURITY: security } = process.env
const DOSSIER = 'ma.chikaya.dossier.forwarded.v1'
const schemas = process.env.CHIKAYA_SCHEMAS ?? new URL('../../../contracts/schemas/consumer', import.meta.url).pathname

const ajv = addFormats(new Ajv({ strict: false }))
const isDossier = ajv.compile(JSON.parse(readFileSync(`${schemas}/${DOSSIER}.json`)))

const kafka = new Kafka({
  clientId: username,
  brokers: bootstrap.split(','),
  ssl: security === 'SASL_SSL',
  sasl: { mechanism: 'scram-sha-512', username, password },
  logLevel: logLevel.ERROR
})
const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner })
const consumer = kafka.consumer({ groupId: `${username}.inbox`, sessionTimeout: 6000, heartbeatInterval: 2000 })

// UUIDv5 (RFC 9562) in the OID namespace of "cause\ntype\n": the same cause gives the same id each time.
function consequenceId (cause, type) {
  const namespace = Buffer.from('6ba7b8129dad11d180b400c04fd430c8', 'hex')
  const bytes = createHash('sha1').update(namespace).update(`${cause}\n${type}\n`).digest().subarray(0, 16)
  bytes[6] = (bytes[6] & 0x0f) | 0x50
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  return bytes.toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5')
}

function decision (cause, complaint, type, fields) {
  return {
    key: complaint,
    value: JSON.stringify({ complaint_id: complaint, administration: slug, ...fields }),
    headers: {
      ce_specversion: '1.0',
      ce_id: consequenceId(cause, type),
      ce_source: `/administration/${slug}`,
      ce_type: type,
      ce_time: new Date().toISOString(),
      ce_subject: complaint,
      'content-type': 'application/json'
    }
  }
}

async function eachMessage ({ topic, partition, message }) {
  if (String(message.headers.ce_type) === DOSSIER) {
    const dossier = parsed(message.value)
    if (isDossier(dossier)) {
      const [cause, complaint] = [String(message.headers.ce_id), dossier.complaint_id]
      await producer.send({
        topic: `administration.${slug}.outbox.v1`,
        acks: -1,
        messages: [
          decision(cause, complaint, 'ma.chikaya.administration.acknowledged.v1', {}),
          decision(cause, complaint, 'ma.chikaya.administration.answered.v1', {
            text: `Votre dossier ${dossier.reference} est réglé.`
          })
        ]
      })
      console.log(`answered ${dossier.reference}`)
    } else {
      console.error(`passed over ${topic}[${partition}]:${message.offset}, no dossier:`, isDossier.errors[0].keyword)
    }
  }
  await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(message.offset) + 1n) }])
}

function parsed (value) {
  try { return JSON.parse(value) } catch { return undefined }
}

// kafkajs tries a record that fails again and again, and then begins the whole consumer anew: it is never lost.
process.once('SIGTERM', async () => { await consumer.disconnect(); await producer.disconnect() })
// A crash that kafkajs will not mend ends the process, so that whoever runs it sees that.
consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) process.exit(1) })
await producer.connect()
await consumer.connect()
await consumer.subscribe({ topic: `administration.${slug}.inbox.v1`, fromBeginning: true })
await consumer.run({ autoCommit: false, eachMessage })
