// Passkeys: ask for options, let the browser do its part, send the answer as the form that is there.
// A form with data-passkey="get" or "create" and data-options (where options come from) is served.

const failure = {
  NotAllowedError: 'No passkey was used. Try again, or choose another way.',
  InvalidStateError: 'This device has a passkey for you already.',
  SecurityError: 'Passkeys do not work at this address.'
}

async function options (form) {
  const answer = await fetch(form.dataset.options, {
    method: 'POST',
    credentials: 'same-origin',
    redirect: 'error',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      csrf: form.elements.csrf.value,
      ...(form.dataset.second ? { second: 'yes' } : {})
    })
  })
  if (!answer.ok) throw new Error('no options')
  return await answer.json()
}

function say (form, words) {
  const place = form.querySelector('[data-says]')
  place.textContent = words
  place.hidden = false
  place.focus()
}

async function serve (event) {
  const form = event.currentTarget
  event.preventDefault()
  try {
    const told = await options(form)
    const credential = form.dataset.passkey === 'create'
      ? await navigator.credentials.create({
        publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(told)
      })
      : await navigator.credentials.get({
        publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(told)
      })
    form.elements.credential.value = JSON.stringify(credential.toJSON())
    form.submit()
  } catch (fault) {
    say(form, failure[fault.name] ?? 'This did not work. Load the page again, sign in again if you are asked to, and try once more.')
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  for (const form of document.querySelectorAll('form[data-passkey]')) {
    form.hidden = false
    form.addEventListener('submit', serve)
  }
}
