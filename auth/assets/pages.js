// Every page works without this; it moves the focus to errors and lets people look at what they typed.
import { initAll } from './nhsuk/nhsuk-frontend.js'

document.body.classList.add('js-enabled', 'nhsuk-frontend-supported')
initAll()
